"""Arrays of many videos in one Arrow file, memory-mapped: decoded frames, or features of frames."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from emozoo.errors import DataError
from emozoo.files import complete

_FACTS = b"emozoo"


def write_arrays(path: Path, arrays: Iterable[np.ndarray]) -> None:
    """Write arrays (T, ...) of one type and one shape but for T; the file appears when it is complete."""
    import pyarrow as pa

    with complete(path) as place, open(place, "wb") as file:
        writer, schema = None, None
        for array in arrays:
            flat = np.ascontiguousarray(array)
            kind = pa.binary(flat[0].nbytes)
            if schema is None or writer is None:
                facts = {"dtype": flat.dtype.str, "shape": flat.shape[1:]}
                schema = pa.schema([pa.field("frame", kind)], {_FACTS: json.dumps(facts).encode()})
                writer = pa.ipc.new_file(file, schema)
            column = pa.Array.from_buffers(kind, len(flat), [None, pa.py_buffer(flat)])
            writer.write_batch(pa.record_batch([column], schema=schema))
        if writer is not None:
            writer.close()


def read_arrays(path: Path) -> list[Tensor]:
    """Return the arrays of a file as tensors that share its memory map; do not write to them.

    Raises:
        DataError: the file is damaged, or of another kind.
    """
    import pyarrow as pa

    try:
        reader = pa.ipc.open_file(pa.memory_map(str(path)))
        facts = json.loads(reader.schema.metadata[_FACTS])
        kind, shape = np.dtype(facts["dtype"]), tuple(facts["shape"])
        if kind.kind not in "uf":
            raise ValueError(f"type {kind}")
        batches = [reader.get_batch(number) for number in range(reader.num_record_batches)]
        return [_tensor(batch.column(0).buffers()[1], kind, (len(batch), *shape)) for batch in batches]
    except (pa.ArrowException, ValueError, KeyError, TypeError, OSError) as error:
        raise DataError(f"{path} is no cache of frames ({error}); delete it, it will be made anew") from None


def _tensor(buffer: object, kind: np.dtype, shape: tuple[int, ...]) -> Tensor:
    array = np.frombuffer(buffer, kind, count=int(np.prod(shape))).reshape(shape)  # ty: ignore
    array.flags.writeable = False
    import warnings

    with warnings.catch_warnings():  # torch has no read-only tensors, and says so
        warnings.simplefilter("ignore", UserWarning)
        return torch.from_numpy(array)
