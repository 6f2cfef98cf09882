"""What the gateway costs, beside the least that it could cost and beside its peers.

``python -m bench`` starts everything, loads each in turn and prints one table.
"""
