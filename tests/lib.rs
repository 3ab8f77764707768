//! The tests are in `suite/`: one integration binary over the local system.
