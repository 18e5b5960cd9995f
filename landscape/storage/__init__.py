"""Storage shared by all files of this package: checked opening, and creation that never leaves half a file.

Reading a name imports the module that has it: HDF5 is there only where it is needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from landscape.lazy import lazy

if TYPE_CHECKING:
    from landscape.storage.archives import array_types as array_types
    from landscape.storage.archives import is_archive_of as is_archive_of
    from landscape.storage.archives import read_arrays as read_arrays
    from landscape.storage.archives import read_text as read_text
    from landscape.storage.archives import verify_archive as verify_archive
    from landscape.storage.atomic import atomic_path as atomic_path
    from landscape.storage.attributes import integer_attr as integer_attr
    from landscape.storage.attributes import read_attr as read_attr
    from landscape.storage.attributes import read_json_attr as read_json_attr
    from landscape.storage.attributes import read_lines as read_lines
    from landscape.storage.attributes import write_attr as write_attr
    from landscape.storage.attributes import write_attrs as write_attrs
    from landscape.storage.attributes import write_json_attr as write_json_attr
    from landscape.storage.attributes import write_lines as write_lines
    from landscape.storage.digests import ROWS as ROWS
    from landscape.storage.digests import begin_array as begin_array
    from landscape.storage.digests import digest as digest
    from landscape.storage.digests import has_seal as has_seal
    from landscape.storage.digests import require_rows as require_rows
    from landscape.storage.digests import require_seal as require_seal
    from landscape.storage.digests import row_digests as row_digests
    from landscape.storage.digests import seal as seal
    from landscape.storage.digests import write_row_digests as write_row_digests
    from landscape.storage.faults import FAULTS as FAULTS
    from landscape.storage.faults import damage as damage
    from landscape.storage.interrupts import deferred_interrupt as deferred_interrupt
    from landscape.storage.interrupts import safe_point as safe_point
    from landscape.storage.part_names import common_path as common_path
    from landscape.storage.part_names import part_path as part_path
    from landscape.storage.part_names import parts_of as parts_of
    from landscape.storage.part_names import rank_in as rank_in
    from landscape.storage.plain_values import MOST_VALUES as MOST_VALUES
    from landscape.storage.plain_values import parse_json as parse_json
    from landscape.storage.provenance import versions as versions
    from landscape.storage.reader import PathLike as PathLike
    from landscape.storage.reader import kind_of as kind_of
    from landscape.storage.reader import lacks_digests as lacks_digests
    from landscape.storage.reader import open_read as open_read
    from landscape.storage.reader import require_file as require_file
    from landscape.storage.reader import state_of as state_of
    from landscape.storage.reader import steadily as steadily
    from landscape.storage.reader import steadily_each as steadily_each
    from landscape.storage.writer import Change as Change
    from landscape.storage.writer import change as change
    from landscape.storage.writer import create as create
    from landscape.storage.writer import require_writable as require_writable

_NAMES = {
    "archives": "array_types is_archive_of read_arrays read_text verify_archive",
    "atomic": "atomic_path",
    "attributes": "integer_attr read_attr read_json_attr read_lines write_attr write_attrs "
    "write_json_attr write_lines",
    "digests": "ROWS begin_array digest has_seal require_rows require_seal row_digests seal write_row_digests",
    "faults": "FAULTS damage",
    "interrupts": "deferred_interrupt safe_point",
    "part_names": "common_path part_path parts_of rank_in",
    "plain_values": "MOST_VALUES parse_json",
    "provenance": "versions",
    "reader": "PathLike kind_of lacks_digests open_read require_file state_of steadily steadily_each",
    "writer": "Change change create require_writable",
}
_HOME = {name: module for module, names in _NAMES.items() for name in names.split()}
__all__ = sorted(_HOME)

__getattr__, __dir__ = lazy(__name__, __all__, _HOME)
