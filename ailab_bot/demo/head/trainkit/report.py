"""The table at the end of a run."""

import pandas as pd


def summarise(losses: list[float]) -> str:
    return pd.Series(losses, name="loss").describe().to_string()
