"""`cxredit invert`."""


def command() -> None:
    """Not written yet."""
