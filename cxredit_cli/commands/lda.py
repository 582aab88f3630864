"""`cxredit lda`."""


def command() -> None:
    """Not written yet."""
