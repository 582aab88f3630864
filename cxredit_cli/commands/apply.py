"""`cxredit apply`."""


def command() -> None:
    """Not written yet."""
