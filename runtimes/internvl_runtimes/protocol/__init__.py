"""What travels: OpenAI's wire types, problems in OpenAI's shape, and the values between the deployments."""
