#!/bin/sh
# Trains Sprout the way the shipped weights were trained; afterwards run/ holds the last checkpoint.
set -eu
cd "$(dirname "$0")"
python train.py --out run --steps 100000 --stop 1250
python train.py --out run --resume run/checkpoint.pt --steps 5200 --stop 2000 --decay 0.77
python train.py --out run --resume run/checkpoint.pt --steps 5400 --stop 2500 --decay 0.63 --matrix-rate 0.008 --vector-rate 0.0015
python train.py --out run --resume run/checkpoint.pt --steps 4000 --stop 3800 --decay 0.375 --matrix-rate 0.0065 --vector-rate 0.0012 --part late
python train.py --out run --resume run/checkpoint.pt --steps 4450 --decay 0.146 --matrix-rate 0.0035 --vector-rate 0.0006 --part late
python export.py --run run --to ..
python evaluate.py --model .. --per-skill 100 --write ..
