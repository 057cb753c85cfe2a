"""What stands behind the functions of the order desk: the shop's own books.

They are kept apart from the journal on purpose, in an SQLite file: in real life they are a
warehouse, a payment provider and a carrier, which know nothing of workflows.
"""
