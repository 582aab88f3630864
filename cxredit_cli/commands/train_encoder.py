"""`cxredit train-encoder`."""


def command() -> None:
    """Not written yet."""
