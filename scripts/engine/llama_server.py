"""llama.cpp's server on a GGUF file, until it is killed; prints its address.

Usage: llama_server.py FILE PORT
"""

import sys
import time

import xllamacpp

options = xllamacpp.CommonParams()
options.model.path = sys.argv[1]
options.model_alias = ["sprout-llama"]
options.hostnames = ["127.0.0.1"]
options.port = int(sys.argv[2])
options.n_ctx = 1024
options.n_parallel = 2
options.n_gpu_layers = 0
options.cpuparams.n_threads = 1
options.use_jinja = True
options.warmup = False
options.fit_params = False
server = xllamacpp.Server(options)
print(server.listening_address, flush=True)
while True:
    time.sleep(60)
