"""Where balances and their history live: a file that moves with its offset.

Knows updates and numbers, and neither RabbitMQ nor streams.
"""
