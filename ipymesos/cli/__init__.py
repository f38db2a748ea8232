"""The command line.

main       `python -m ipymesos COMMAND`: the list of the commands; each is a module of its name
arguments  what several commands take
options    MesosOptions as arguments, over the profile's configuration
"""
