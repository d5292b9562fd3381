"""What a process's collector of garbage need not look through."""

import gc


def spare_what_is_loaded() -> None:
    """Never look through what the process has by now, for it stays.

    To do so now and then, as fits come and go, was a tenth of what small fits take. What is garbage
    by now would stay as well, and is collected first.
    """
    gc.collect()
    gc.freeze()
