// The page where people sign in: one field, and whoever one says one is.

const page = (action) => `<!doctype html>
<meta charset="utf-8">
<title>Sign in</title>
<form method="post" action="${action}">
  <label>Name <input name="login" autofocus required></label>
  <button>Sign in</button>
</form>
`;

/** Answers `/login/..`; false if it is for somebody else. */
export async function login(request, response, provider) {
  const { pathname } = new URL(request.url, provider.issuer);
  if (!/^\/login\/[\w-]+$/.test(pathname)) return false;
  // Refuses whoever has no cookie of such an interaction.
  await provider.interactionDetails(request, response);
  if (request.method !== 'POST') {
    response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' });
    response.end(page(pathname));
    return true;
  }
  let text = '';
  for await (const part of request) text += part;
  const accountId = new URLSearchParams(text).get('login') || 'nobody';
  // Who signs in consents to everything: there is no second page.
  const result = { login: { accountId }, consent: {} };
  await provider.interactionFinished(request, response, result);
  return true;
}
