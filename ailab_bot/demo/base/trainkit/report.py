"""The table at the end of a run."""


def summarise(losses: list[float]) -> str:
    import pandas as pd

    return pd.Series(losses, name="loss").describe().to_string()
