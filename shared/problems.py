"""What a person has to mend before a process can start."""


class WrongSetting(Exception):
    """A variable of the environment does not fit; the message names it, never its value."""
