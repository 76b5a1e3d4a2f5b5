Map call(Map args = [:]) {
    return bgciRun('promote', args)
}
