"""Class-agnostic mask proposals, such as SAM's: reading, storing, and merging with labels or scores."""
