"""Vocabulary and the Lua machine. Starts no threads; imports neither LMDB nor Pykka."""
