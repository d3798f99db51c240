// Forwards events to the function at INVOKE_URL, because serverless-offline cannot start Rust functions.
exports.handler = async (event) => {
  const response = await fetch(process.env.INVOKE_URL, { method: "POST", body: JSON.stringify(event) });
  return response.json();
};
