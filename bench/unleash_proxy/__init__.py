"""The Unleash proxy, as a peer for evaluation over HTTP.

``features`` holds what it decides, ``proxy`` starts it, ``start.cjs`` is what Node.js runs.  The
proxy itself is not part of this project: it is installed into a folder of its own with
``npm install --ignore-scripts --prefix FOLDER @unleash/proxy@1.4.9``.
"""
