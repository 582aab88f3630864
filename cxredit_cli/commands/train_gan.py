"""`cxredit train-gan`."""


def command() -> None:
    """Not written yet."""
