"""Class-agnostic mask proposals, such as SAM's: reading, keeping, and merging with labels or scores."""
