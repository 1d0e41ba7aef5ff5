__version__ = "0.1.0"

from .former import install

install()
