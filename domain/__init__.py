"""The documents, their operations, who may do what and how two peers talk: pure functions of their inputs."""
