"""What the scores of a position mean: one file a likelihood. The contract is `contract.Likelihood`."""
