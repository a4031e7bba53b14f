#!/usr/bin/env python3
"""CSV → 80/20 split → encode → train → accuracy, with pandas and scikit-learn's LogisticRegression."""

import tables

args = tables.arguments(__doc__, **tables.ENGINE)
x_train, y_train, x_test, y_test = tables.pandas_encoded(args.path, args.seed, args.engine)
model = tables.lr().fit(x_train, y_train)
tables.report(f"pandas-{args.engine} + LR", len(y_train) + len(y_test), model.score(x_test, y_test))
