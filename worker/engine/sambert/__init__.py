"""Our own inference of Sambert-HifiGAN voices: symbols in, waves and timings out.

`folder` finds a voice's files, `config` and `checkpoint` read them, `symbols` encodes the
frontend's notation, `acoustic` makes mel frames, `vocoder` makes samples, `voice` joins them and
`engine` offers them to the worker.
"""
