"use strict";
// The token of "Authorize" stays in this page: it is neither stored nor sent as a cookie.
SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#swagger-ui",
  layout: "BaseLayout",
  docExpansion: "none",
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
  persistAuthorization: false,
  withCredentials: false,
  validatorUrl: null,
  requestInterceptor: (request) => {
    request.credentials = "omit";
    return request;
  },
});
