"""What the command line tells a person who has to mend something before it can go on."""


class SetupProblem(Exception):
    """This machine or installation does not allow it; the message says what to do."""
