"""Export the notebooks as `nbdev-export` does, with lines of at most 110 characters in `__all__`, too."""

from textwrap import TextWrapper

from nbdev import maker
from nbdev.doclinks import nbdev_export


def narrow(**how):
    "nbdev's own wrapper has 120 columns, and `__all__ = ` comes before them."
    return TextWrapper(**how | dict(width=110 - len('__all__ = ')))


if __name__ == '__main__':
    maker.TextWrapper = narrow
    nbdev_export()
