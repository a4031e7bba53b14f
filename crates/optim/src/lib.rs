//! Update rules of gradient descent, run by one fused driver.
