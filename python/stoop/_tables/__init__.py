"""Tables: files and data frames of named columns, and the numbers that a network gets of them.

`read_table` reads a file into a pandas data frame, `TableEncoder` makes its columns a matrix of numbers, `Target` makes
one column what a network learns, and `TableState` is all that a model's file remembers of both.
"""

from stoop._tables._codes import CodeColumn, IgnoredColumn
from stoop._tables._columns import CategoryColumn, NumberColumn
from stoop._tables._encoder import TableEncoder
from stoop._tables._reading import read_table
from stoop._tables._scale import TargetScale
from stoop._tables._state import METADATA_KEY, TableState
from stoop._tables._target import Target
from stoop._tables._text import TextFormat

__all__ = [
    "METADATA_KEY",
    "CategoryColumn",
    "CodeColumn",
    "IgnoredColumn",
    "NumberColumn",
    "TableEncoder",
    "TableState",
    "Target",
    "TargetScale",
    "TextFormat",
    "read_table",
]
