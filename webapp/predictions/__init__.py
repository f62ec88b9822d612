"""Models of sources, and what they predict.

``cells`` reads the values of a record, ``sampling`` chooses which records are learnt from and which
are held out, ``features`` decides what a model looks at, ``lifecycle`` which version is the
champion.  ``estimators`` alone knows scikit-learn, and ``training`` puts these together: only the
jobs load both.  ``service`` asks for jobs, ``versions`` and ``runs`` write what comes of them, and
``champions`` and ``queries`` read.
"""
