"""`cxredit direction`."""


def command() -> None:
    """Not written yet."""
