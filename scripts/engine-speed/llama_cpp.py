"""llama.cpp through its C interface, doing what standard input says; see `engine_on_command.rs`.

Usage: llama_cpp.py LIBRARY FILE THREADS

Structures whose layout changes from version to version are passed on as the library filled them.
"""

import ctypes
import sys

import numpy

SEQUENCES = 64
POSITIONS = 576


class Opaque(ctypes.Structure):
    """More than any of the parameter structures takes."""

    _fields_ = [("words", ctypes.c_uint32 * 128)]


class Batch(ctypes.Structure):
    _fields_ = [(name, ctypes.c_void_p) for name in ("count", "token", "embd", "pos", "n_seq_id", "seq_id", "logits")]


def load(path):
    library = ctypes.CDLL(path)
    pointer = ctypes.c_void_p
    for name, result, arguments in [
        ("llama_model_default_params", Opaque, []),
        ("llama_context_default_params", Opaque, []),
        ("llama_model_load_from_file", pointer, [ctypes.c_char_p, Opaque]),
        ("llama_init_from_model", pointer, [pointer, Opaque]),
        ("llama_set_n_threads", None, [pointer, ctypes.c_int32, ctypes.c_int32]),
        ("llama_get_memory", pointer, [pointer]),
        ("llama_memory_clear", None, [pointer, ctypes.c_bool]),
        ("llama_decode", ctypes.c_int32, [pointer, Batch]),
        ("llama_get_logits_ith", ctypes.POINTER(ctypes.c_float), [pointer, ctypes.c_int32]),
        ("llama_log_set", None, [pointer, pointer]),
    ]:
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


class Engine:
    def __init__(self, library, file, threads):
        self.library = library
        self.silence = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)(lambda *_: None)
        library.llama_log_set(ctypes.cast(self.silence, ctypes.c_void_p), None)
        library.llama_backend_init()
        self.model = library.llama_model_load_from_file(file.encode(), library.llama_model_default_params())
        assert self.model, f"{file} cannot be loaded"
        options = library.llama_context_default_params()
        assert tuple(options.words[:4]) == (512, 2048, 512, 1), "the parameters begin differently"
        # Room for one long prompt, or for all sequences of short ones; logical and physical batch.
        options.words[0], options.words[1], options.words[2], options.words[3] = SEQUENCES * POSITIONS, 2048, 512, SEQUENCES
        self.context = library.llama_init_from_model(self.model, options)
        assert self.context, "no context"
        library.llama_set_n_threads(self.context, threads, threads)
        self.ids = numpy.arange(SEQUENCES, dtype=numpy.int32)
        self.ones = numpy.ones(2048, numpy.int32)

    def clear(self):
        self.library.llama_memory_clear(self.library.llama_get_memory(self.context), True)

    def run(self, sequences, positions, last_only):
        """One row for each pair of sequence and position."""
        count = len(sequences)
        tokens = ((positions * 7 + sequences * 13) % 900).astype(numpy.int32)
        pointers = (self.ids.ctypes.data + 4 * sequences).astype(numpy.uint64)
        wanted = numpy.ones(count, numpy.int8)
        if last_only:
            wanted[:-1] = 0
        positions = positions.astype(numpy.int32)
        data = lambda array: array.ctypes.data
        batch = Batch(count, data(tokens), None, data(positions), data(self.ones), data(pointers), data(wanted))
        status = self.library.llama_decode(self.context, batch)
        assert status == 0, f"llama_decode says {status}"
        assert self.library.llama_get_logits_ith(self.context, count - 1)[0] == self.library.llama_get_logits_ith(self.context, -1)[0]

    def prefill(self, tokens):
        self.clear()
        self.run(numpy.zeros(tokens, numpy.int64), numpy.arange(tokens), True)

    def prepare(self, streams, tokens):
        self.clear()
        self.streams, self.position = numpy.arange(streams), tokens
        for stream in range(streams):
            self.run(numpy.full(tokens, stream), numpy.arange(tokens), True)

    def decode(self, steps):
        for _ in range(steps):
            self.run(self.streams, numpy.full(len(self.streams), self.position), False)
            self.position += 1


def main(library, file, threads):
    engine = Engine(load(library), file, int(threads))
    print("ready", flush=True)
    for line in sys.stdin:
        word, *numbers = line.split()
        getattr(engine, word)(*map(int, numbers))
        print("done", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
