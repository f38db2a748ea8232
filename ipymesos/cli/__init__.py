"""The command line.

commands   `python -m ipymesos COMMAND`: the arguments, and what each command does
options    MesosOptions as arguments, over the profile's configuration
scale      changes the number of engines, and waits for it
demo       a private Mesos, a few engines, a picture
"""
