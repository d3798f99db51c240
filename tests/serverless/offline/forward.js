// A function that hands its event to the one behind INVOKE_URL: serverless-offline starts no Rust itself.
exports.handler = async (event) => {
  const answer = await fetch(process.env.INVOKE_URL, { method: "POST", body: JSON.stringify(event) });
  return answer.json();
};
