//! Training by gradient descent on CPUs: fast, exact, reproducible to the bit.
