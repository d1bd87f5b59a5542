"""One file a step: each binds a science room to the experiment."""
