"""The running pipeline: threads, queues, results, statistics."""
