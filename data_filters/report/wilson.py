"""The interval of a rate."""


def wilson(successes: float, n: float, z: float = 1.96) -> tuple[float, float]:
    """Gives Wilson's score interval of a rate; it stays honest at 0 and at n.

    Args:
        successes: how many succeeded, 0..n; clustered rates pass (mean rate over clusters) * n,
            which need not be whole.
        n: independent trials; for clustered rates the number of clusters, since answers within one
            say little new.
        z: normal quantile, 1.96 for 95 %.

    Returns:
        (low, high) in 0..1, always around successes / n; (0, 1) where n is 0.

    Source: Wilson 1927; Brown, Cai and DasGupta 2001.
    """
    if n == 0:
        return 0.0, 1.0
    p = float(successes / n)
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5
    return float(min(max(middle - half, 0.0), p)), float(max(min(middle + half, 1.0), p))
