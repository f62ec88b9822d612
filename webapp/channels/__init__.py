"""Channels: where messages to people go, such as a chat, a mailbox or a pager.

``values`` has the vocabulary, ``sealing`` keeps an address secret, ``sending`` is the one module
that knows Apprise, ``service`` writes channels and turns a message into one job a channel.
"""
