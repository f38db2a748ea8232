"""Try what a first start needs, one thing after the other, and say what to do about what fails.

findings   what one check has found
judge      from what was seen to findings; pure
look       what is there to see on this machine and from it
trial      a framework of a few seconds with a task on one or two agents
examine    the checks in their order
"""
