"""DLPack producers made by hand, so that a test controls every field and counts every deleter call."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, field

import numpy as np

CPU, CUDA = 1, 2


class _Device(ctypes.Structure):
    _fields_ = [("type", ctypes.c_int32), ("id", ctypes.c_int32)]


class _DataType(ctypes.Structure):
    _fields_ = [("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16)]


class _Tensor(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device", _Device),
        ("ndim", ctypes.c_int32),
        ("dtype", _DataType),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    ]


_Deleter = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class _Managed(ctypes.Structure):
    _fields_ = [("tensor", _Tensor), ("context", ctypes.c_void_p), ("deleter", _Deleter)]


class _Versioned(ctypes.Structure):
    _fields_ = [
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("context", ctypes.c_void_p),
        ("deleter", _Deleter),
        ("flags", ctypes.c_uint64),
        ("tensor", _Tensor),
    ]


_new_capsule = ctypes.pythonapi.PyCapsule_New
_new_capsule.restype = ctypes.py_object
_new_capsule.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
_TYPE_CODES = {"i": 0, "u": 1, "f": 2, "c": 5, "b": 6}


@dataclass
class Producer:
    """An object that exports ``array``'s memory through DLPack, in whatever way the fields say."""

    array: np.ndarray
    versioned: bool = True
    knows_max_version: bool = True
    version: tuple[int, int] = (1, 0)
    flags: int = 0
    device: tuple[int, int] = (CPU, 0)
    dtype: tuple[int, int, int] | None = None
    byte_offset: int = 0
    null_strides: bool = False
    null_data: bool = False
    capsule_name: bytes | None = None
    deleted: int = 0
    calls: list[dict] = field(default_factory=list)
    capsules: list = field(default_factory=list)
    _alive: list = field(default_factory=list)

    def __dlpack_device__(self):
        self.calls.append({"device": True})
        return self.device

    def __dlpack__(self, **keywords):
        self.calls.append(keywords)
        if "max_version" in keywords and not self.knows_max_version:
            raise TypeError("unexpected keyword argument 'max_version'")
        managed = _Versioned() if self.versioned else _Managed()
        if self.versioned:
            managed.major, managed.minor = self.version
            managed.flags = self.flags
        self._fill(managed.tensor)

        def delete(_pointer):
            self.deleted += 1

        managed.deleter = _Deleter(delete)
        name = self.capsule_name or (b"dltensor_versioned" if self.versioned else b"dltensor")
        self._alive += [managed, managed.deleter, name]
        capsule = _new_capsule(ctypes.addressof(managed), name, None)
        self.capsules.append(capsule)
        return capsule

    def _fill(self, tensor):
        array, n = self.array, self.array.ndim
        shape = (ctypes.c_int64 * max(n, 1))(*array.shape)
        strides = (ctypes.c_int64 * max(n, 1))(*(s // array.itemsize for s in array.strides))
        self._alive += [shape, strides]
        tensor.data = None if self.null_data else array.ctypes.data - self.byte_offset
        tensor.byte_offset = self.byte_offset
        tensor.device = _Device(*self.device)
        tensor.ndim = n
        code = self.dtype or (_TYPE_CODES[array.dtype.kind], array.itemsize * 8, 1)
        tensor.dtype = _DataType(*code)
        tensor.shape = ctypes.cast(shape, ctypes.POINTER(ctypes.c_int64))
        if not self.null_strides:
            tensor.strides = ctypes.cast(strides, ctypes.POINTER(ctypes.c_int64))
