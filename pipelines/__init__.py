"""How tiers run: recipe → plan → shard tasks → commits → a tier on disk."""
