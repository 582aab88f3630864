"""`cxredit prepare`."""


def command() -> None:
    """Not written yet."""
