"""The journal: the store on LMDB. Knows no Lua and no actor of ours."""
