"""What travels on Kafka and stands in the numbered logs. JSON Schema under docs/events/ is generated from these classes."""
