//! The tokio driver: one task per connection.
