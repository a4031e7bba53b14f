#!/usr/bin/env python3
"""CSV → 80/20 split → encode → train → accuracy, with polars and scikit-learn's SGDClassifier, one averaged pass."""

import tables

args = tables.arguments(__doc__, **tables.SGD)
x_train, y_train, x_test, y_test = tables.polars_encoded(args.path, args.seed)
model = tables.sgd(args.passes, args.rate).fit(x_train, y_train)
tables.report("polars + SGD", len(y_train) + len(y_test), model.score(x_test, y_test))
