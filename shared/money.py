"""Money is integer fen (1 yuan = 100 fen). No float ever touches it."""


def yuan(amount_fen: int) -> str:
    """'1,234.56': exact, for people; a correction reads '-0.48'."""
    whole, rest = divmod(abs(amount_fen), 100)
    return f"{'-' if amount_fen < 0 else ''}{whole:,}.{rest:02d}"
